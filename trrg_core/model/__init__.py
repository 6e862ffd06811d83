"""The TRRG model: encoders, contrastive stage, disease perception, clues, generator, model folders.

The steps of both stages, in plain torch without a cluster; batches and prompts are of `trrg_core.training`, reports of
`trrg_core.generation`:

    text_tokenizer = load_tokenizer(config.pretrain.text_encoder.pretrained, texts, vocabulary_size=..., lowercase=True)
    contrastive = build_contrastive(config, text_tokenizer, observations)              # stage 1
    batch = collate_pretrain(rows, tokenizer=text_tokenizer, prompts=load_prompts(observations),
                             observations=observations, config=config.pretrain, seed=seed)
    loss, parts = contrastive(batch)                                                   # LossOutput, a NamedTuple

    perception = build_perception(contrastive, text_tokenizer, observations)           # whole weights, eval mode
    scores = perceive(contrastive, perception, collate_images(rows, ...)).score_BO     # rows of `validate`
    perception.set_calibrations(fit_calibration(scores, batch.stated_BO))              # numpy arrays

    llm_tokenizer = load_tokenizer(config.finetune.llm.pretrained, texts, vocabulary_size=...)
    generator = build_generator(config, contrastive, perception, llm_tokenizer, observations)  # stage 2
    loss, parts = generator(collate_finetune(rows, tokenizer=llm_tokenizer, observations=observations,
                                             config=config, seed=seed))
    reports = generate_reports(generator, batch, config.generate)                      # write_reports: reranked drafts

    take_weights(module, gathered_state)                                               # whole weights from an engine
    save_contrastive_folder(folder, config=..., contrastive=..., perception=..., tokenizer=text_tokenizer)
    save_model_folder(folder, config=..., generator=..., text_tokenizer=..., state=gathered_state)
    load_contrastive_folder(folder).contrastive; load_model_folder(folder).generator   # safetensors and JSON only

`torch.manual_seed` before each step makes a step repeatable; augmentation is seeded by the batch.
"""
