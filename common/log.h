#pragma once

#include <string>

namespace enodia {

/// Sets who speaks: information comes from rank 0 only, warnings and errors from every rank.
/// Lines go to stderr as `2026-11-22T10:12:03.120 I r0/8 text`. Call once, before any thread.
void init_log(int rank, int world_size);

void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

}  // namespace enodia
