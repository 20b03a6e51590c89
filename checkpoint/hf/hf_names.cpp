#include "checkpoint/hf/hf_names.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <tuple>

#include "checkpoint/hf/hf_description.h"

namespace enodia {
namespace {

void rename(std::string& name, const HfRename& rename) {
  if (const size_t at = name.find(rename.ours); at != std::string::npos) {
    name.replace(at, rename.ours.size(), rename.theirs);
  }
}

/// The name with each selection of the renames that apply to it, all of them first.
std::vector<std::string> spellings(const HfFamily& family, const std::string& name) {
  std::vector<std::string> names{name};
  for (const HfRename& each : family.renames) {
    if (name.find(each.ours) != std::string::npos) {
      std::vector<std::string> renamed = names;
      std::for_each(renamed.begin(), renamed.end(), [&](std::string& n) { rename(n, each); });
      names.insert(names.begin(), renamed.begin(), renamed.end());
    }
  }
  return names;
}

/// "P.experts.7.gate_proj.weight" in its parts.
struct ExpertName {
  std::string block;  ///< "P.experts."
  int64_t expert = 0;
  std::string matrix;  ///< "gate_proj"
};

std::optional<ExpertName> parse_expert(const std::string& name) {
  constexpr std::string_view kBefore = ".experts.";
  constexpr std::string_view kAfter = ".weight";
  const size_t found = name.find(kBefore);
  if (found == std::string::npos || !name.ends_with(kAfter)) {
    return std::nullopt;
  }
  const size_t begin = found + kBefore.size();
  const size_t dot = name.find('.', begin);
  ExpertName parts{name.substr(0, begin), 0, ""};
  std::from_chars(name.data() + begin, name.data() + dot, parts.expert);
  parts.matrix = name.substr(dot + 1, name.size() - kAfter.size() - dot - 1);
  return parts;
}

/// gate_up_proj is [E, 2F, D], gate first; down_proj is [E, D, F].
HfPlace fused_place(const ExpertName& name, const std::vector<int64_t>& shape, int64_t experts) {
  if (name.matrix == "down_proj") {
    return {name.block + "down_proj", {experts, shape[0], shape[1]}, {name.expert, 0, 0}};
  }
  const int64_t first_row = name.matrix == "up_proj" ? shape[0] : 0;
  return {
      name.block + "gate_up_proj", {experts, 2 * shape[0], shape[1]}, {name.expert, first_row, 0}};
}

/// The next run of digits or of anything else, and its value when it is a number.
std::tuple<std::string_view, int64_t> next_run(std::string_view text) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const bool number = is_digit(text.front());
  const auto end =
      std::find_if(text.begin(), text.end(), [&](char c) { return is_digit(c) != number; });
  const std::string_view run = text.substr(0, static_cast<size_t>(end - text.begin()));
  int64_t value = -1;
  if (number) {
    std::from_chars(run.data(), run.data() + run.size(), value);
  }
  return {run, value};
}

}  // namespace

std::string hf_name(const HfFamily& family, const std::string& parameter) {
  return spellings(family, parameter).front();
}

std::vector<HfPlace> hf_places(const HfFamily& family,
                               const ParameterShape& parameter,
                               int64_t num_experts) {
  std::vector<HfPlace> places;
  for (std::string& name : spellings(family, parameter.name)) {
    places.push_back(
        {std::move(name), parameter.shape, std::vector<int64_t>(parameter.shape.size(), 0)});
  }
  if (const auto expert = parse_expert(parameter.name); expert) {
    HfPlace fused = fused_place(*expert, parameter.shape, num_experts);
    for (std::string& name : spellings(family, fused.tensor)) {
      places.push_back({std::move(name), fused.shape, fused.first});
    }
  }
  return places;
}

bool comes_before(const std::string& a, const std::string& b) {
  std::string_view rest_a = a;
  std::string_view rest_b = b;
  while (!rest_a.empty() && !rest_b.empty()) {
    const auto [run_a, value_a] = next_run(rest_a);
    const auto [run_b, value_b] = next_run(rest_b);
    if (value_a != value_b) {
      return value_a < value_b;
    }
    if (value_a < 0 && run_a != run_b) {
      return run_a < run_b;
    }
    rest_a.remove_prefix(run_a.size());
    rest_b.remove_prefix(run_b.size());
  }
  return rest_a.size() < rest_b.size();
}

}  // namespace enodia
