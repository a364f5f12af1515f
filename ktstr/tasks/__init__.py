"""All that knows doit: the front end, the task families, variables and the reporter."""
