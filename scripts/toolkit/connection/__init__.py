"""test-connection: down the layers between an application and its database, to the broken one."""
