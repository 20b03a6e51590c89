#include "trainer/data/hf/metaspace.h"

#include "common/wording.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {

Metaspace::Metaspace(const JsonField& description) : symbol_(description.at("replacement").text()) {
  std::string_view rest = symbol_;
  if (!rest.empty()) {
    character_ = take_character(rest);
  }
  if (symbol_.empty() || !rest.empty()) {
    description.at("replacement").fail("must be one character");
  }
  if (const auto scheme = description.find("prepend_scheme")) {
    const std::string name = scheme->text();
    if (name != "always" && name != "first" && name != "never") {
      scheme->fail(quote(name) + " must be always, first or never");
    }
    prepend_ = name == "always"  ? Prepend::kAlways
               : name == "first" ? Prepend::kFirst
                                 : Prepend::kNever;
  } else if (const auto add = description.find("add_prefix_space"); add && !add->flag()) {
    prepend_ = Prepend::kNever;  // as older files say it
  }
  if (const auto split = description.find("split")) {
    splits_ = split->flag();
  }
}

std::string Metaspace::mark(std::string_view text, bool first) const {
  std::string marked;
  for (const char byte : text) {
    if (byte == ' ') {
      marked += symbol_;
    } else {
      marked += byte;
    }
  }
  const bool wanted = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first);
  return wanted && !marked.starts_with(symbol_) ? symbol_ + marked : marked;
}

std::string Metaspace::unmark(std::string_view token, bool first) const {
  std::string text;
  while (!token.empty()) {
    if (!token.starts_with(symbol_)) {
      text += token.front();
      token.remove_prefix(1);
      continue;
    }
    if (!first || prepend_ == Prepend::kNever) {
      text += ' ';
    }
    token.remove_prefix(symbol_.size());
  }
  return text;
}

}  // namespace enodia
