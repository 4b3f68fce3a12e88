"""OpenAI-shaped routes: /v1/completions, /v1/chat/completions, /v1/embeddings, /v1/models, /v1/audio.

Source: the OpenAI API reference, and what its own Python client sends and reads.
"""
