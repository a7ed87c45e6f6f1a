"""The gold audit: finds questions whose gold query is doubtful, and says why."""
