#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/json_field.h"
#include "trainer/data/hf/growth_bound.h"

namespace enodia {

/// Tokens back to text: the `decoder` of a tokenizer.json. Knows ByteLevel, Metaspace, Replace,
/// ByteFallback, Fuse, Strip and Sequence.
class TokenDecoder {
 public:
  /// Joins the tokens with spaces, as Hugging Face's tokenizers do without a decoder.
  TokenDecoder() = default;
  /// Throws FileError, by name, on a kind that it does not know.
  explicit TokenDecoder(const JsonField& description)
      : where_(description.where()),
        separator_("") {
    add(description);
  }

  /// Throws FileError when the tokens grow beyond their GrowthBound.
  std::string operator()(std::vector<std::string> tokens) const;

 private:
  using Step =
      std::function<std::vector<std::string>(std::vector<std::string>, const GrowthBound&)>;
  void add(const JsonField& description);

  std::string where_;
  std::string separator_ = " ";
  std::vector<Step> steps_;
};

}  // namespace enodia
