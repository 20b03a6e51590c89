#include "trainer/data/tokenizer_export.h"

#include "trainer/data/hf/tokenizer_bundle.h"

namespace enodia {

TokenizerFiles hugging_face_files(const Tokenizer& tokenizer, int64_t) {
  if (is_bundle(tokenizer.blob())) {
    return {read_bundle(tokenizer.blob(), "the tokenizer").files, ""};
  }
  return {{}, "later"};
}

}  // namespace enodia
