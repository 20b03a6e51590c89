// A library that calls itself NCCL of another version, or has too few functions.

extern "C" int ncclGetVersion(int* version) {
  *version = ENODIA_FAKE_NCCL_VERSION;
  return 0;
}

extern "C" const char* ncclGetErrorString(int) {
  return "none";
}

extern "C" int cudaRuntimeGetVersion(int* version) {
  *version = 9020;
  return 0;
}

extern "C" const char* cudaGetErrorString(int) {
  return "none";
}
