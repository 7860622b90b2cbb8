"""Opens Hugging Face checkpoint folders: config.json and safetensors files."""
