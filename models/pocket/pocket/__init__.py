"""The recipe of the embedded model: its corpus, tokenizer, training, evaluation and export."""
