"""Operators of the chain: its gangs, a person's approval, the hosted reference, and their teardown."""
