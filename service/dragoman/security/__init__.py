"""Who may call: API keys and their quotas, certificates, and the files that both are read from again and again."""
