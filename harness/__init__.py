"""Load-test and chaos evaluation of LLM chat agents."""
