#pragma once

#include <string>
#include <vector>

#include "checkpoint/hf/hf_config.h"
#include "checkpoint/native/checkpoint.h"
#include "checkpoint/native/save.h"
#include "common/json.h"
#include "trainer/config/train_config.h"
#include "trainer/data/tokenizer.h"

namespace enodia {

/// What a native checkpoint keeps of the Hugging Face folder it was made of, besides its weights.

/// The sections model and router as a config.json fills them; `source` names it in comments.
TrainConfig config_of(const HfConfig& hf, const std::string& source);

/// The document of the checkpoint: no step done, and the folder's ids of special tokens.
Json imported_document(const HfTokenIds& token_ids);

/// The ids of special tokens: those that an imported checkpoint keeps, else the tokenizer's end of
/// text, else none. `tokenizer` may be null. Throws FileError.
HfTokenIds token_ids_of(const Checkpoint& checkpoint, const Tokenizer* tokenizer);

}  // namespace enodia
