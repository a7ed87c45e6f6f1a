"""SQL as text: tokens, names, schemas, the shape of a query, and DuSQL's dialect."""
