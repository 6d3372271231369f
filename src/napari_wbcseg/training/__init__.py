"""Training of the networks, without a window.

How it goes, and where::

    train               reads and plans, builds the network, trains it, writes the model
      plan              what is learnt from, and what is kept aside; duplicates: no picture is both
      classic, robust   the recipes: batches, loss and preview of each
        samples/        samples composed of real and drawn cells
        truth           what the networks are taught
      batches           drawn ahead, in a thread or in processes; shared by several GPUs
      loop              the epochs: what is told, what ends them, the checkpoint, the preview
    worker              train in a process of its own, from the job in its folder
    fine_tune           plan, train on corrections and on a replay of what the model knew, score both models
    classifier          the network that tells classes (class_cells, class_views)
"""
