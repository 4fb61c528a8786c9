// A program that uses a shared library in which pllava is hidden.
long long plugin_answer();

int main() {
  return plugin_answer() == 42 ? 0 : 1;
}
