"""The engine room: how one request is scanned, payload by payload, round by round."""
