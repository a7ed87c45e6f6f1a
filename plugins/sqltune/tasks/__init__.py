"""The functions that the DAGs call, one module for each stage of the chain.

plan        plan, hosts, storages       planning    from the form to the plan
preflight   preflight, master_ip        dataset     download_dataset
evaluate    serve, ask, stop            reference   hosted_questions, reference
gate        gate                        register    register
promote     promote; choose and serve of text2sql_promote
prune       prune                       mlflow      tell_mlflow of text2sql_housekeeping
"""
