// A program that uses CUDA only through a shared library.
int ask_the_gpu();

int main() {
  return ask_the_gpu();
}
