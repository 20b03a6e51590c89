#include "trainer/data/hf/normalizer.h"

#include <map>

#include "common/wording.h"
#include "trainer/data/hf/pattern.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {

std::string Normalizer::operator()(std::string text) const {
  const GrowthBound bound(where_, text.size());
  for (const Step& step : steps_) {
    text = step(std::move(text), bound);
    bound.check(text.size());
  }
  return text;
}

void Normalizer::add(const JsonField& description) {
  static const std::map<std::string, UnicodeForm> forms{{"NFC", UnicodeForm::kNFC},
                                                        {"NFD", UnicodeForm::kNFD},
                                                        {"NFKC", UnicodeForm::kNFKC},
                                                        {"NFKD", UnicodeForm::kNFKD}};
  const std::string type = description.at("type").text();
  if (type == "Sequence") {
    for (const JsonField& step : description.at("normalizers").elements()) {
      add(step);
    }
  } else if (const auto form = forms.find(type); form != forms.end()) {
    steps_.emplace_back([form = form->second](const std::string& text, const GrowthBound&) {
      return normalize_unicode(text, form);
    });
  } else if (type == "Lowercase") {
    steps_.emplace_back(
        [](const std::string& text, const GrowthBound&) { return to_lower_case(text); });
  } else if (type == "Prepend") {
    steps_.emplace_back(
        [prefix = description.at("prepend").text()](const std::string& text, const GrowthBound&) {
          return text.empty() ? text : prefix + text;
        });
  } else if (type == "Replace") {
    steps_.emplace_back([pattern = read_pattern(description.at("pattern")),
                         content = description.at("content").text()](const std::string& text,
                                                                     const GrowthBound& bound) {
      return replace_matches(text, pattern, content, bound);
    });
  } else {
    description.at("type").fail(quote(type) +
                                " is a normalizer that Enodia does not know; it knows NFC, NFD, "
                                "NFKC, NFKD, Lowercase, Prepend, Replace and Sequence");
  }
}

}  // namespace enodia
