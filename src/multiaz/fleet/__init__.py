"""What people do to a deployed stack, in boto3: an endpoint URL is all that tells Amazon and this machine apart."""
