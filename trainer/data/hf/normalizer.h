#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/json_field.h"

namespace enodia {

/// What is done to a text before it is cut: the `normalizer` of a tokenizer.json. Knows NFC, NFD,
/// NFKC, NFKD, Lowercase, Prepend, Replace and Sequence.
class Normalizer {
 public:
  Normalizer() = default;
  /// Throws FileError, by name, on a kind that it does not know.
  explicit Normalizer(const JsonField& description) { add(description); }

  std::string operator()(std::string text) const;

 private:
  using Step = std::function<std::string(std::string)>;
  void add(const JsonField& description);

  std::vector<Step> steps_;
};

}  // namespace enodia
