#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/json_field.h"
#include "trainer/data/hf/growth_bound.h"

namespace enodia {

/// What is done to a text before it is cut: the `normalizer` of a tokenizer.json. Knows NFC, NFD,
/// NFKC, NFKD, Lowercase, Prepend, Replace and Sequence.
class Normalizer {
 public:
  Normalizer() = default;
  /// Throws FileError, by name, on a kind that it does not know.
  explicit Normalizer(const JsonField& description) : where_(description.where()) {
    add(description);
  }

  /// Throws FileError when the text grows beyond its GrowthBound.
  std::string operator()(std::string text) const;

 private:
  using Step = std::function<std::string(std::string, const GrowthBound&)>;
  void add(const JsonField& description);

  std::string where_;
  std::vector<Step> steps_;
};

}  // namespace enodia
