// A program that knows nothing of CUDA.
int ask_the_gpu();

int main() {
  return ask_the_gpu();
}
