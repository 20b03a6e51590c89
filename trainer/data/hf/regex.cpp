#include "trainer/data/hf/regex.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <mutex>

#include "common/check.h"
#include "common/error.h"
#include "common/wording.h"

#include <oniguruma.h>

namespace enodia {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;

const OnigUChar* bytes_of(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

void start_oniguruma() {
  static std::once_flag started;
  std::call_once(started, [] {
    std::array<OnigEncoding, 1> encodings{ONIG_ENCODING_UTF8};
    onig_initialize(encodings.data(), static_cast<int>(encodings.size()));
  });
}

std::string message_of(int code, OnigErrorInfo* info = nullptr) {
  std::array<OnigUChar, ONIG_MAX_ERROR_MESSAGE_LEN> buffer{};
  const int length = info != nullptr ? onig_error_code_to_str(buffer.data(), code, info)
                                     : onig_error_code_to_str(buffer.data(), code);
  return std::string(reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(length));
}

/// What one find_all may cost. The limits of a single search leave room for any expression whose
/// cost is linear in the text; the time of all searches together, a hundred times what the
/// patterns of known models take, ends those that are quadratic. Processor time, so that a process
/// that is stopped for a while loses nothing.
class Budget {
 public:
  explicit Budget(size_t text_bytes) : parameters_(onig_new_match_param()) {
    ENODIA_CHECK(parameters_ != nullptr);
    onig_initialize_match_param(parameters_);
    const unsigned long steps = 10'000'000UL + 100UL * text_bytes;
    onig_set_retry_limit_in_match_of_match_param(parameters_, steps);
    onig_set_retry_limit_in_search_of_match_param(parameters_, steps);
    const size_t entries = std::min<size_t>(1'000'000 + 16 * text_bytes, 50'000'000);
    onig_set_match_stack_limit_size_of_match_param(parameters_, static_cast<unsigned int>(entries));
    deadline_ = seconds() + 20.0 + 20.0 * static_cast<double>(text_bytes) / (1 << 20);
  }
  ~Budget() { onig_free_match_param(parameters_); }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  OnigMatchParam* parameters() const { return parameters_; }

  bool spent() {
    constexpr int kSearchesBetweenLooks = 64;
    if (++searches_ % kSearchesBetweenLooks != 0 && !expensive_) {
      return false;
    }
    const double now = seconds();
    expensive_ = now - last_look_ > 0.1;
    last_look_ = now;
    return now > deadline_;
  }

 private:
  static double seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  OnigMatchParam* parameters_;
  double deadline_ = 0.0;
  double last_look_ = 0.0;
  int searches_ = 0;
  bool expensive_ = true;
};

size_t next_character(std::string_view text, size_t at) {
  do {
    ++at;
  } while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

}  // namespace

struct Regex::Compiled {
  OnigRegex regex = nullptr;
  ~Compiled() { onig_free(regex); }
};

Regex::Regex(std::string_view pattern, const std::string& where) : where_(where) {
  if (pattern.size() > kMaxPatternBytes) {
    throw FileError(where + " is a regular expression of more than 65536 bytes");
  }
  start_oniguruma();
  auto compiled = std::make_shared<Compiled>();
  OnigErrorInfo info;
  const OnigUChar* bytes = bytes_of(pattern);
  const int code = onig_new(&compiled->regex,
                            bytes,
                            bytes + pattern.size(),
                            ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8,
                            ONIG_SYNTAX_DEFAULT,
                            &info);
  if (code != ONIG_NORMAL) {
    compiled->regex = nullptr;
    throw FileError(where + " " + quote(pattern) +
                    " is no valid regular expression: " + message_of(code, &info));
  }
  compiled_ = std::move(compiled);
}

std::vector<TextRange> Regex::find_all(std::string_view text) const {
  std::vector<TextRange> matches;
  Budget budget(text.size());
  const std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region(
      onig_region_new(), [](OnigRegion* r) { onig_region_free(r, 1); });
  const OnigUChar* begin = bytes_of(text);
  const OnigUChar* end = begin + text.size();
  for (size_t at = 0; at <= text.size();) {
    const int found = onig_search_with_param(compiled_->regex,
                                             begin,
                                             end,
                                             begin + at,
                                             end,
                                             region.get(),
                                             ONIG_OPTION_NONE,
                                             budget.parameters());
    if (found == ONIG_MISMATCH) {
      break;
    }
    if (found < 0 || budget.spent()) {
      throw FileError(detail::concat(
          where_,
          " is a regular expression that takes too much time or memory on a text of ",
          text.size(),
          " bytes",
          found < 0 ? " (" + message_of(found) + ")" : "",
          "; use another tokenizer, or shorter documents"));
    }
    const TextRange match{static_cast<size_t>(region->beg[0]), static_cast<size_t>(region->end[0])};
    if (match.begin == match.end && !matches.empty() && matches.back().end == match.end) {
      at = next_character(text, at);
      continue;
    }
    matches.push_back(match);
    at = match.end;
  }
  return matches;
}

}  // namespace enodia
