#include "trainer/data/hf/added_tokens.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "common/wording.h"
#include "trainer/data/hf/regex.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

// Finding takes time in proportion to text times longest token; known models stay below 100.
constexpr size_t kMaxContentBytes = 1024;

void refuse_unknown_keys(const JsonField& description) {
  constexpr std::array<std::string_view, 7> kKeys{
      "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"};
  if (!description.value().is_object()) {
    description.fail("must be an object");
  }
  for (const auto& [key, value] : description.value().items()) {
    if (std::count(kKeys.begin(), kKeys.end(), key) == 0) {
      description.fail("has the key " + quote(key) + ", which is not known");
    }
  }
}

AddedToken read_added_token(const JsonField& description) {
  refuse_unknown_keys(description);
  const auto flag = [&](std::string_view key, bool otherwise) {
    const auto found = description.find(key);
    return found ? found->flag() : otherwise;
  };
  const int64_t id = description.at("id").count();
  if (id > BytePairModel::kMaxId) {
    description.at("id").fail(detail::concat(id, " must lie from 0 to ", BytePairModel::kMaxId));
  }
  AddedToken token;
  token.id = static_cast<int32_t>(id);
  token.content = description.at("content").text();
  if (token.content.size() > kMaxContentBytes) {
    description.at("content").fail("must have at most 1024 bytes");
  }
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = flag("special", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

/// The character before byte `end`, and where it begins.
std::pair<char32_t, size_t> character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while ((static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) {
    --begin;
  }
  std::string_view rest = text.substr(begin);
  return {take_character(rest), begin};
}

bool stands_alone(std::string_view text, TextRange found) {
  std::string_view after = text.substr(found.end);
  const bool before =
      found.begin > 0 && is_word_character(character_before(text, found.begin).first);
  return !before && (after.empty() || !is_word_character(take_character(after)));
}

size_t skip_space_before(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const auto [character, start] = character_before(text, begin);
    if (!is_white_space(character)) {
      break;
    }
    begin = start;
  }
  return begin;
}

size_t skip_space_after(std::string_view text, size_t end) {
  for (std::string_view rest = text.substr(end);
       !rest.empty() && is_white_space(take_character(rest));) {
    end = text.size() - rest.size();
  }
  return end;
}

}  // namespace

void AddedTokenFinder::add(const AddedToken& token) {
  size_t node = 0;
  for (const char byte : token.spelling) {
    const auto [next, is_new] = nodes_[node].next.try_emplace(byte, nodes_.size());
    node = next->second;
    if (is_new) {
      nodes_.emplace_back();
    }
  }
  if (node != 0) {
    nodes_[node].token = &token;
  }
}

std::pair<const AddedToken*, size_t> AddedTokenFinder::longest_at(std::string_view text) const {
  std::pair<const AddedToken*, size_t> longest{nullptr, 0};
  size_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto next = nodes_[node].next.find(text[i]);
    if (next == nodes_[node].next.end()) {
      break;
    }
    node = next->second;
    if (nodes_[node].token != nullptr) {
      longest = {nodes_[node].token, i + 1};
    }
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text,
                             const TextSink& on_text,
                             const IdSink& on_token) const {
  size_t done = 0;
  const auto hand_over_until = [&](size_t end) {
    if (end > done) {
      on_text(text.substr(done, end - done), done == 0);
    }
  };
  for (size_t at = 0; at < text.size();) {
    const auto [token, length] = longest_at(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    TextRange found{at, at + length};
    at = found.end;
    if (token->single_word && !stands_alone(text, found)) {
      continue;
    }
    if (token->lstrip) {
      found.begin = skip_space_before(text, found.begin, done);
    }
    if (token->rstrip) {
      found.end = skip_space_after(text, found.end);
    }
    hand_over_until(found.begin);
    on_token(token->id);
    done = std::max(done, found.end);
  }
  hand_over_until(text.size());
}

AddedTokens::AddedTokens(const JsonField& list,
                         const BytePairModel& model,
                         const Normalizer& normalizer) {
  std::unordered_set<std::string> contents;
  const auto descriptions = list.elements();
  tokens_.reserve(descriptions.size());  // the finders point into it
  for (const JsonField& description : descriptions) {
    AddedToken token = read_added_token(description);
    if (token.content.empty()) {  // Hugging Face's tokenizers would move the ids after it
      description.at("content").fail("must not be empty");
    }
    const int32_t in_model = model.id_of(token.content);
    const std::string* at_id = model.token_of(token.id);
    if ((in_model != BytePairModel::kNone && in_model != token.id) ||
        (at_id != nullptr && *at_id != token.content)) {
      description.fail(detail::concat(
          quote(token.content), " has the id ", token.id, ", the vocabulary says otherwise"));
    }
    const auto [known, is_new] = by_id_.emplace(token.id, nullptr);
    if (!is_new || !contents.insert(token.content).second) {
      description.fail(
          detail::concat(quote(token.content), " or its id ", token.id, " occurs twice"));
    }
    token.spelling = token.normalized ? normalizer(token.content) : token.content;
    tokens_.push_back(std::move(token));
    known->second = &tokens_.back();
    (tokens_.back().normalized ? normalized_ : raw_).add(tokens_.back());
  }
}

const AddedToken* AddedTokens::find(int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

int64_t AddedTokens::max_id() const {
  int64_t max = -1;
  for (const AddedToken& token : tokens_) {
    max = std::max<int64_t>(max, token.id);
  }
  return max;
}

}  // namespace enodia
