"""The jobs of the chain, one module each: `run(config, store, inputs) -> JobResult`."""
