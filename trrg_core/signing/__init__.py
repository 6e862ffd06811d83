"""Keys, kept apart from the store, that show who wrote a file of it.

key = read_manifest_key(config.engine.manifest_key_file)     # one secret: HMACs of manifests, for whoever trains
sign_folder(folder, read_signing_key())                       # a key pair: signatures of registered models
"""
