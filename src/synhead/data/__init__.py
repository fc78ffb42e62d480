"""Images, videos, clips and pairs."""
