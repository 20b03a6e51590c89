#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"

namespace enodia {

/// Collects what is wrong with options as sentences "key (value) must ...; remedy". With kAll it
/// collects every relation, broken or not, so that the code that checks them documents them too.
class Rules {
 public:
  enum class Collect : uint8_t { kBroken, kAll };

  explicit Rules(Collect collect = Collect::kBroken) : collect_(collect) {}

  /// What one value must be on its own. Documented by the schema, never here.
  template <typename... Words>
  void bound(bool holds, const Words&... sentence) {
    add(!holds, !holds, sentence...);
  }
  /// A rule between keys, or one on a single value that its range does not tell. The words must be
  /// fit to be joined also when the rule holds.
  template <typename... Words>
  void relate(bool holds, const Words&... sentence) {
    add(!holds, !holds || collect_ == Collect::kAll, sentence...);
  }
  /// Whether nothing was broken so far.
  bool sound() const { return sound_; }
  std::vector<std::string> sentences() && { return std::move(sentences_); }

 private:
  template <typename... Words>
  void add(bool broken, bool wanted, const Words&... sentence) {
    sound_ = sound_ && !broken;
    if (wanted) {
      sentences_.push_back(detail::concat(sentence...));
    }
  }

  Collect collect_;
  bool sound_ = true;
  std::vector<std::string> sentences_;
};

/// The sentences of an options struct's check(Rules&), empty when the options are sound.
template <typename Options>
std::vector<std::string> violations_of(const Options& options) {
  Rules rules;
  options.check(rules);
  return std::move(rules).sentences();
}

}  // namespace enodia
