#include "trainer/config/suggestions.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "common/wording.h"

namespace enodia {
namespace {

/// What other programs call our keys, too far from our names for edit distance.
constexpr std::array<std::pair<std::string_view, std::string_view>, 26> kForeignNames{{
    {"top_k", "model.num_experts_per_tok"},
    {"topk", "model.num_experts_per_tok"},
    {"moe_router_topk", "model.num_experts_per_tok"},
    {"n_experts", "model.num_experts"},
    {"num_local_experts", "model.num_experts"},
    {"n_routed_experts", "model.num_experts"},
    {"n_shared_experts", "model.num_shared_experts"},
    {"ffn_hidden_size", "model.intermediate_size"},
    {"moe_ffn_hidden_size", "model.moe_intermediate_size"},
    {"d_model", "model.hidden_size"},
    {"n_embd", "model.hidden_size"},
    {"num_layers", "model.num_hidden_layers"},
    {"n_layer", "model.num_hidden_layers"},
    {"n_head", "model.num_attention_heads"},
    {"num_heads", "model.num_attention_heads"},
    {"router_aux_loss_coef", "router.aux_loss_coef"},
    {"moe_aux_loss_coeff", "router.aux_loss_coef"},
    {"router_z_loss_coef", "router.z_loss_coef"},
    {"learning_rate", "optim.lr"},
    {"grad_clip", "optim.clip_norm"},
    {"max_grad_norm", "optim.clip_norm"},
    {"batch_size", "train.global_batch_size"},
    {"seq_length", "train.sequence_length"},
    {"seq_len", "train.sequence_length"},
    {"max_steps", "train.steps"},
    {"save_interval", "checkpoint.interval"},
}};

std::string foreign_name(const std::string& name) {
  for (const auto& [foreign, path] : kForeignNames) {
    if (name == foreign) {
      return std::string(path);
    }
  }
  return "";
}

std::vector<std::string> sections_of(std::span<const ConfigKey> keys) {
  std::vector<std::string> sections;
  for (const ConfigKey& key : keys) {
    if (sections.empty() || sections.back() != key.section) {
      sections.push_back(key.section);
    }
  }
  return sections;
}

std::vector<std::string> names_in(const std::string& section, std::span<const ConfigKey> keys) {
  std::vector<std::string> names;
  for (const ConfigKey& key : keys) {
    if (key.section == section) {
      names.push_back(key.name);
    }
  }
  return names;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

/// The full path of the key that is called `name` exactly, in whatever section.
std::string path_of(const std::string& name, std::span<const ConfigKey> keys) {
  const auto found = std::find_if(
      keys.begin(), keys.end(), [&](const ConfigKey& key) { return key.name == name; });
  return found == keys.end() ? "" : found->path();
}

/// The known path that was probably meant by `name` in `section` (empty: at the top level): the
/// same name elsewhere, a slip of the pen in this section, another program's name, a slip of the
/// pen elsewhere.
std::string guess(const std::string& section,
                  const std::string& name,
                  std::span<const ConfigKey> keys) {
  if (std::string path = path_of(name, keys); !path.empty()) {
    return path;
  }
  if (const std::string near = nearest_word(name, names_in(section, keys)); !near.empty()) {
    return section + "." + near;
  }
  if (std::string path = foreign_name(name); !path.empty()) {
    return path;
  }
  std::vector<std::string> all_names;
  for (const ConfigKey& key : keys) {
    all_names.push_back(key.name);
  }
  return path_of(nearest_word(name, all_names), keys);
}

}  // namespace

std::string list_sections(std::span<const ConfigKey> keys) {
  return join(sections_of(keys));
}

std::string guess_path(const std::string& path, std::span<const ConfigKey> keys) {
  const std::vector<std::string> sections = sections_of(keys);
  const size_t dot = path.find('.');
  const std::string section = nearest_word(path.substr(0, dot), sections);
  if (dot == std::string::npos) {
    return section.empty() ? guess("", path, keys) : section;
  }
  return guess(section, path.substr(dot + 1), keys);
}

std::string explain_unknown_path(const std::string& path, std::span<const ConfigKey> keys) {
  const std::vector<std::string> sections = sections_of(keys);
  const std::string section = path.substr(0, path.find('.'));
  const bool is_section = section == path;
  const bool known_section = std::find(sections.begin(), sections.end(), section) != sections.end();
  if (is_section && known_section) {
    return quote(path) + " is a section; set one of its keys: " + join(names_in(path, keys));
  }
  const std::string unknown = (is_section ? "unknown section " : "unknown key ") + quote(path);
  const std::string meant = guess_path(path, keys);
  if (!meant.empty()) {
    return unknown + "; did you mean '" + meant + "'?";
  }
  return unknown + (known_section ? "; keys of " + section + " are " + join(names_in(section, keys))
                                  : "; sections are " + join(sections));
}

}  // namespace enodia
