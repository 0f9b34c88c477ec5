"""What becomes known of requests and engines: metrics, logs, traces, the status page. Nothing here decides anything."""
