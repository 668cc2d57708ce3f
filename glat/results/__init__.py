"""The paper's tables and figures from metrics files; no model is loaded here."""
