#pragma once

#include <span>
#include <string>

#include "trainer/config/schema.h"

namespace enodia {

/// "run, model, router ...": the sections in order.
std::string list_sections(std::span<const ConfigKey> keys);

/// The key or section that was probably meant by a path that names none; empty when nothing is
/// near.
std::string guess_path(const std::string& path, std::span<const ConfigKey> keys);

/// A sentence about a path that names no key ("model.hiden_size", "hidden_size", "modle"): what it
/// was probably meant to be, or else which keys there are.
std::string explain_unknown_path(const std::string& path, std::span<const ConfigKey> keys);

}  // namespace enodia
