"""Pictures, sound, video and fonts: what is media, what is free for other bytes; one file a family."""
