#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hf/hf_family.h"
#include "common/json.h"
#include "models/model_options.h"

namespace enodia {

/// The ids that a model gives to the beginning and the end of a text.
struct HfTokenIds {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;  ///< generation may end at any of them; the first ends a document
};

/// What a config.json says.
struct HfConfig {
  const HfFamily* family = nullptr;
  ModelOptions model;
  double router_aux_loss_coef = 0.0;
  std::string dtype;  ///< of the stored weights, as written: "bfloat16"; empty = not told
  HfTokenIds token_ids;
};

/// Reads a config.json written by transformers 4 or 5 (old and new names of keys; what is left out
/// has that family's default in transformers). Every key is used, known to be without effect on the
/// weights' mathematics, or refused by name. Throws FileError, one sentence that begins with
/// `source` and lists every refused key with its value.
HfConfig read_hf_config(const Json& json, const std::string& source);

/// The config.json of a model of this family, with old and new names where readers differ, so that
/// transformers 4 and 5, vLLM and llama.cpp's converter can read it.
Json write_hf_config(const HfConfig& config);
/// The generation_config.json that goes with it.
Json write_generation_config(const HfTokenIds& token_ids);

}  // namespace enodia
