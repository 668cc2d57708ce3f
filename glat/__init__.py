"""Global-local attention (GL-AT) audio tagging."""
