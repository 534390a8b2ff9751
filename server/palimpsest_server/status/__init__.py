"""Tell the client, the log and the status file what goes on."""
