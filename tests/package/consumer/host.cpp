// A program that uses pllava only through a shared library.
long long plugin_answer();

int main() {
  return plugin_answer() == 42 ? 0 : 1;
}
