#pragma once

#include <filesystem>
#include <string>

#include "trainer/data/hf/hf_pipeline.h"

namespace enodia {

/// The token that ends a text, which a tokenizer.json does not tell. From the files beside it:
/// eos_token of tokenizer_config.json, else the first eos_token_id of config.json or
/// generation_config.json; else the one special token with a usual name. Throws FileError when
/// there is none, or none that is a token.
std::string find_end_token(const HfPipeline& pipeline, const std::filesystem::path& tokenizer_json);

}  // namespace enodia
