"""What is known of runs, versions and promotions: the database, and the store of whole logs."""
