"""Recordings: decoded, resampled, cropped or padded, and turned into log-mel spectrograms."""
