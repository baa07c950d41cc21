#include "init.h"
int monitor(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 2;
}
