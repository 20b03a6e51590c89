#include "trainer/program.h"

int main(int argc, char** argv) {
  return enodia::run_program(argc, argv);
}
