// Stands in until the tokenizers' export is merged. Whoever merges it: delete.
#include "trainer/data/tokenizer_export.h"
namespace enodia {
TokenizerFiles hugging_face_files(const Tokenizer&, int64_t) { return {}; }
}  // namespace enodia
