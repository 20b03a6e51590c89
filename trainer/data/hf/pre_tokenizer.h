#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/json_field.h"
#include "trainer/data/hf/growth_bound.h"

namespace enodia {

/// Cuts a normalized text into the pieces that are merged each on its own: the `pre_tokenizer` of a
/// tokenizer.json. Knows ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit and
/// Sequence.
class PreTokenizer {
 public:
  /// A part of the text, never empty, and whether it is the beginning of the whole.
  using PieceSink = std::function<void(std::string_view piece, bool first)>;

  PreTokenizer() = default;
  /// Throws FileError, by name, on a kind that it does not know.
  explicit PreTokenizer(const JsonField& description) : where_(description.where()) {
    add(description);
  }

  /// Throws FileError when a step is given more than the text's GrowthBound.
  void operator()(std::string_view text, bool first, const PieceSink& sink) const;

 private:
  /// Cuts or changes one piece; what comes out goes into the next step at once, so that a long
  /// document is never held in pieces.
  using Step = std::function<void(std::string_view piece, bool first, const PieceSink& sink)>;

  void add(const JsonField& description);
  void add_byte_level(const JsonField& description);
  void add_split(const JsonField& description);
  void add_metaspace(const JsonField& description);
  /// `given` counts the bytes that each step has been given of the whole text.
  void run(size_t step,
           std::string_view piece,
           bool first,
           const PieceSink& sink,
           const GrowthBound& bound,
           std::vector<size_t>& given) const;

  std::string where_;
  std::vector<Step> steps_;
};

}  // namespace enodia
