"""Registered versions, the champion, promotions, and their copy in MLflow."""
