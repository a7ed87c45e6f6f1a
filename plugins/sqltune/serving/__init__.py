"""The served model and its servers, and the hosted reference."""
