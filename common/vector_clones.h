#pragma once

/// Before a function: it is compiled for narrow and for wide vectors, and the loader takes what the
/// machine has. For loops over plain arrays that the compiler turns into vectors by itself. GCC's
/// target_clones; the functions that are called inside must be inlined to gain by it.
#define ENODIA_CLONES [[gnu::target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")]]
