"""Mail: messages, headers and TNEF."""
