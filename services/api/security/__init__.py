"""Who asks, how he proves it, and what he may: sessions, tokens, passwords, second factors, throttling."""
